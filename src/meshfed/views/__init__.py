"""What people are shown: pure functions from what a cluster holds to what a command, or a page, prints.

A view has no opinion of its own: what it says was decided by the controller, and stands in a status, or is decided
here by the same functions (`meshfed.plan`). Each is a ``msgspec.Struct``, which is also its JSON.
"""
