//! What is promised of a message, rule by rule.
