//! File sharing among peers, with a web page: the application of the original tutorial.
mod app;
mod digest;
mod limits;
mod model;
mod name;
mod options;
mod protocol;
mod remote;
mod search;
mod serve;
mod share;
mod state;
mod talk;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: options::Options,
}

#[actix::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let app = match app::App::start(cli.options).await {
        Ok(app) => app,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return error.exit_code();
        }
    };
    println!("listening on {}", app.status().await.address);
    tokio::signal::ctrl_c().await.ok();
    app.stop().await;
    ExitCode::SUCCESS
}
