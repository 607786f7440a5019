"""The tunnel ``ilt.v1`` between a job and the gateway, for both of its ends.

Layers, each of which knows only the one below it::

    agent       the in-job parent: server, tunnel child, signals
    tunnel      the in-job child: dials the gateway again and again
    session     one end of a tunnel; outlives its carriers        (asyncio)
    splice      one local socket joined to one stream             (asyncio)
    carrier     one websocket connection                          (asyncio)
    mux         streams, windows, pings           handshake       who is there
    frames      yamux frames                      messages        what a carrier carries
    websocket   RFC 6455 messages                 upgrade         its HTTP prelude

Everything here but ``bundle`` also runs in the job, as one file made by ``bundle``:
standard library only, Python 3.8 and later.
"""
