"""The API: the types of ``v1alpha1``, their CRDs, and the reference's flags turned into the same objects.

Types are written once, here in Python (``v1alpha1``, with ``scalars`` and ``rules``); CRD YAML is generated from them
(``crds``, ``schema``). What a schema or a rule can express is in the CRD, so the API server refuses a bad object with
a clear message; ``objects`` says the same offline. The rest becomes a condition.
"""
