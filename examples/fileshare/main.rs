//! File sharing among peers, with a web page: the application of the original tutorial.
mod app;
mod command;
mod digest;
mod instances;
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
mod web;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: options::Options,
    /// Print answers as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<command::Command>,
}

#[actix::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(command) = cli.command {
        return command::run(command, cli.json);
    }
    let (web, token) = (cli.options.web.clone(), cli.options.token.clone());
    let app = match app::App::start(cli.options).await {
        Ok(app) => app,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return error.exit_code();
        }
    };
    let served = match web::serve(app.clone(), &web, token) {
        Ok(served) => served,
        Err(error) => {
            eprintln!("cannot serve the page at {web}: {error}");
            app.stop().await;
            return ExitCode::FAILURE;
        }
    };
    println!("listening on {}", app.status().await.address);
    println!("page at {}", served.url);
    tokio::signal::ctrl_c().await.ok();
    served.stop().await;
    app.stop().await;
    ExitCode::SUCCESS
}
