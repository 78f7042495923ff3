"""Dataclasses whose immutability is the type checker's business.

At run time a frozen dataclass sets every field through `object.__setattr__`, which makes it three to four times as dear to make as one that
is not frozen; and a check makes some thirty. So `frozen=True` is held by the type checker, as are all other types, and not enforced a
second time while the service runs. Equality, hashing and `replace` are those of a frozen dataclass.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(cls=None, /, *, frozen=False, **options):
        """As `dataclasses.dataclass`; what is `frozen` is hashed by its fields and may not be changed, though nothing hinders it."""
        if cls is None:
            return lambda decorated: dataclass(decorated, frozen=frozen, **options)
        hashes = frozen and options.get("eq", True) and "__hash__" not in cls.__dict__
        return dataclasses.dataclass(cls, unsafe_hash=hashes, **options)


__all__ = ["dataclass"]
