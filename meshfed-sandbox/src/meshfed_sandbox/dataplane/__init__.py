"""The sandbox's data plane: real Envoys, fed from the Istio objects of each mesh's API, as istiod would feed them."""
