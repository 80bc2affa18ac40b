"""Tables, figures, contact sheets and pages, made from what other stages wrote."""
