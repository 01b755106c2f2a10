"""Damaged and hostile files of every kind, thrown at everything that reads them.

    python -m tests.fuzz --cases 100000              all kinds in turn; prints what failed
    python -m tests.fuzz --kinds envi,zarr --seed 7  some of them

A case is a good file of its kind, changed at random in bytes or words (`mutate`), and given to the
reader (`kinds`) in a process of its own with bounds of memory and time (`worker`). It may be read
or refused by `InputError`; another exception, an abort, more than 20 s or more than 1 GB is a
failure, whose file is kept. A case is told by its kind and number and is the same in every run.
The suite runs a few of each kind.
"""
