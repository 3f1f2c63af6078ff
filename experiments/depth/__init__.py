"""Chapter 02: ways out of lifted minima, volumes of lifted manifolds,
and descent with batch normalisation."""
