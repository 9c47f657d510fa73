"""What holds of the API: its types, CRDs, rules, and the reference's flags."""
