"""``strata-sender``: what runs in the field.

In this version it sends a test picture; a camera, and the control plane that tells it
where to send, come with the field agent.
"""
