"""Chapter 01: the theorems on embedding in width checked to rounding, spectra, the diagram of the
landscape, the wide net of Fig. 1, and how long plateaus hold."""
