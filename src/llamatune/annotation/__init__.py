"""People compare two replies, on a page of their own machine (paper section 3.2.1, appendix A.3): docs/annotate.md."""
