"""Traffic that goes on while a balancer is restarted, each kind in a process of its own:

    load        all of it together, and what became of it
     ├ held       connections that are opened once, and must never be lost
     ├ openings   new connections, so many a second
     ├ pings      datagrams every few milliseconds: how long nothing was forwarded
     ├ downloads  files by curl, whose checksums are compared
     └ servers    the other end of the first three, on each real
          └ processes  a process on a host of the lab: its event loop, and how the test asks it
"""
