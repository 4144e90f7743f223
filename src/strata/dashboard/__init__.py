"""The operator's pages: a client of control's services, never of its tables.

    browser ─► door ─► login, or pages ─► panels ─► control's services
                                            ▲
                                 overview ──┘  one picture of all streams, made once a second

``door`` lets in who is logged in; ``pages`` are the addresses; a ``panel`` is the part of a page
that lives in the browser (``parts/*.js``) with its other half here; ``overview`` is what is known
of the streams, made once for all panels; ``rows`` and ``words`` decide what is said of it.
"""
