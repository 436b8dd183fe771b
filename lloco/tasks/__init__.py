"""Questions with known answers: data sets read into samples, and the wording of each."""
