"""How control and host reach each other. On one machine: a Unix socket."""
