"""What a net is: fully connected nets, chains of joints, activations and losses, and how they are checked."""
