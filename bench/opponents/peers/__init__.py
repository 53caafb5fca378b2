"""Answer the same questions with other people's libraries, one file each.

Each is the code that a good user of the library writes: it is what runs and what is counted.
"""
