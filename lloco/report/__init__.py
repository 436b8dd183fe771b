"""What the pages about evaluations and benches share: axes, plots, their pictures, and how a page looks."""
