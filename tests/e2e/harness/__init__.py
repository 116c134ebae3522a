"""What the end-to-end tests are made of: a real clbd, real backends, real clients.

    claims    addresses and ports that no other test on this machine uses
    gateway   a clbd process in a folder of its own
    signing   the API's request signature, written from the specification
    api       clients of the Action API: our own, the official SDK, bare HTTP
    backends  TCP servers that say their name and echo
    load      clients of the load balancer, one connection at a time or many at once
    model     what the API must show after a sequence of answered requests
    shapes    names, order and types of the fields of each answer
    prometheus  a reader of the metrics text format
    wait      polling with a deadline

Only the standard library is used here, besides the official SDK.
"""
