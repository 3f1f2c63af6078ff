"""Linear least squares of one layer, the joint, from Gram matrices of its unfolded inputs."""
