"""The policy: YAML, validated by strict models, compiled into an immutable `Policy` that the guards use."""
