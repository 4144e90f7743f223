"""The REST interface: decoding, who is allowed, encoding. No decisions."""
