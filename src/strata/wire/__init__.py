"""What processes say to each other: messages and codecs, without any I/O."""
