"""Parsers of the formats that test tools write: bytes in, plain values out, no other input or output."""
