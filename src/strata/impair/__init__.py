"""``strata-impair``: a bad day, to rehearse.

A UDP relay per link that loses, delays, reorders and throttles what passes, in both
directions, the same way each time for the same seed. It needs no privileges and touches
nothing but its own packets, so it can stand beside a running server.

    address    where to listen and to send, as text
    path       one direction of one link: which packets come out, and when
    relay      one link: the sockets around two paths
    profile    what a rehearsal consists of, from TOML or from the command line
    rehearsal  the relays of a profile, and what changes on them over time
"""
