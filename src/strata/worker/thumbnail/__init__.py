"""What is on the air, small enough for a page: made by a process of its own, when asked for."""
