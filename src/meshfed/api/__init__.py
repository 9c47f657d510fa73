"""The API: the types of ``v1alpha1``, their CRDs, and the reference's flags turned into the same objects.

Types are written once, here in Python; CRD YAML is generated from them. What a schema can express is in the
CRD, so the API server refuses a bad object with a clear message; the rest becomes a condition.
"""
