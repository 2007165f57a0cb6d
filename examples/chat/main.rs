fn main() { ratatui::init(); }
