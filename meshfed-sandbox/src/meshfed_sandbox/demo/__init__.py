"""The main job, shown: two meshes on this machine federate, and every step is checked as it is shown."""
