"""The virtual kubelet: one virtual node, its pods, and their tunnels."""
