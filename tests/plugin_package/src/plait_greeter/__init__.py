"""A package that adds a plugin to plaitd."""

import os

# So that the tests can see when it is imported.
if "GREETER_IMPORTED" in os.environ:
    with open(os.environ["GREETER_IMPORTED"], "a") as file:
        file.write("imported\n")
