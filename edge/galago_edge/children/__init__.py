"""Children: the one way to have a process of one's own, which may crash, hang or be killed.

Foreign code (a driver, a delegate, a model nobody has run here, a library that does not fit the machine)
runs in a fresh interpreter that executes a module of ours, never in a fork of this one, which has threads.
Engine, sources, the first load of a model and the doctor each have a module for the child's work and one for
what its fate means to them; everything between is here:

* ``child``: start one, wait for it with a deadline, kill it, reap it. Every wait has an end, and one that the
  kernel does not end (it hangs in a driver) is left to ``stragglers``, which reaps it when it is gone.
* ``lifeline``: the first calls of a child. It dies with its parent, however that ends and whatever the child
  hangs in, but outlives the thread that started it; and it leaves signals to a whole group to its parent.
* ``confinement``: what a child may no longer do, before it runs something that may harm the device.
* ``channel``: typed messages both ways, with bytes and open files, over a pair of sockets.
* ``output``: what a child writes, kept in memory: no reader has to keep up, and a crash leaves it whole.
* ``ending``: how a child ended, an exit code or a signal by its name.
* ``program_run``, ``program_start``: a program of the device's owner, for one record: the child that is
  started becomes it.
* ``child_environment``: what it finds: this very copy of the package, and fewer reserves where memory counts.

To run the system's own tools (``systemctl``, ``useradd``) is another matter: they are not ours, they know
nothing of a lifeline, and they end by themselves.
"""
