"""AVE logging: everything that happens for one GUID is kept, found and shown together."""

__version__ = "1.0.0"
