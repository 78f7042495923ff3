"""How fast the service is, against a bare route on the same machine in the same minute."""
