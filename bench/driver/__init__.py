"""What bench/http, bench/https and bench/tcp are made of.

    machine    cores, packages, versions, and what /proc says about processes
    process    programs that are pinned to a core and end with us
    tool       clb-bench: the load generator, the backend, the floor
    proxies    the floor, nginx and HAProxy, each configured for a setup
    gateway    clbd, configured through its Action API
    workloads  what is measured, and the paired rounds
    h2         HTTP/2 load by h2load
    special    idle connections, and a change of the configuration under load
    flood      handshakes that are never finished
    targets    what clbd must reach
    stats      medians and quartiles
    report     the Markdown
    chart      the SVG
    main       the command line

Only the standard library is used.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The end-to-end tests have the signing client, the gateway in a folder and the claims on ports.
sys.path.insert(0, str(ROOT / "tests/e2e"))
