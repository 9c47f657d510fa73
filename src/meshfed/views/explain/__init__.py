"""Why a host of one mesh can be called in another, or cannot: the chain from the exporter's Service to the request.

Each link is a function of what one mesh holds (`exporter`, `importer`). What one mesh says of a host makes a `Part`
(`parts`); two of them, whoever brought them, make a chain (`chains`). `asked` finds what a person means by a name, and
`objects` from what an object of ours follows.
"""
