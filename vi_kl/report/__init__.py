"""What a person looks at: tables, figures and pages of records that other parts have made. Nothing is fitted here."""
