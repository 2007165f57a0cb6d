//! The handlers of the JSON API.

use actix_web::{
    HttpResponse,
    web::{self, Data, Json, JsonConfig, Path, PathConfig, QueryConfig, ServiceConfig},
};
use serde_json::{Value, json};

use super::{
    Site,
    body::InTime,
    events,
    failure::{self, Failure},
    upload,
};
use crate::model::{Fetch, FileRow, Join, Joined, Network, Search, SearchRow, Status, Transfer};

/// The maximum length of a JSON body.
const MAX_JSON: usize = 16 * 1024;

type Answer<T> = Result<Json<T>, Failure>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .app_data(JsonConfig::default().limit(MAX_JSON).error_handler(failure::json))
        .app_data(
            QueryConfig::default().error_handler(|error, _| failure::unexpected("query", error)),
        )
        .app_data(
            PathConfig::default().error_handler(|error, _| failure::unexpected("path", error)),
        )
        .route("/api/status", web::get().to(status))
        .route("/api/peers", web::get().to(peers))
        .route("/api/peers/{id}", web::delete().to(remove_peer))
        .route("/api/files", web::get().to(files))
        .route("/api/files", web::post().to(upload::add_file))
        .route("/api/transfers", web::get().to(transfers))
        .route("/api/transfers/{number}/cancel", web::post().to(cancel))
        .route("/api/transfers", web::delete().to(clear_transfers))
        .route("/api/transfers/{number}", web::delete().to(clear_transfer))
        .route("/api/searches", web::get().to(searches))
        .route("/api/search", web::post().to(search))
        .route("/api/fetch", web::post().to(fetch))
        .route("/api/join", web::post().to(join))
        .route("/api/rebuild", web::post().to(rebuild))
        .route("/api/refresh", web::post().to(refresh))
        .route("/api/events", web::get().to(events::listen));
    #[cfg(feature = "metrics")]
    config.route("/metrics", web::get().to(metrics));
}

#[cfg(feature = "metrics")]
async fn metrics(site: Data<Site>) -> HttpResponse {
    let text = site.app.metrics().await;
    HttpResponse::Ok().content_type(crate::prometheus::CONTENT_TYPE).body(text)
}

/// The answer of calls without a result.
fn done() -> Json<Value> {
    Json(json!({}))
}

async fn status(site: Data<Site>) -> Json<Status> {
    Json(site.app.status().await)
}

async fn peers(site: Data<Site>) -> Json<Network> {
    Json(site.app.network().await)
}

async fn remove_peer(site: Data<Site>, id: Path<String>) -> Answer<Value> {
    site.app.remove_peer(&id).await?;
    Ok(done())
}

/// The list of files, serialised on a blocking thread, because it may have thousands of rows.
async fn files(site: Data<Site>) -> Result<HttpResponse, Failure> {
    let json = events::files(&site.app).await.ok_or_else(Failure::stopped)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(json))
}

async fn transfers(site: Data<Site>) -> Json<Vec<Transfer>> {
    Json(site.app.transfers())
}

async fn cancel(site: Data<Site>, number: Path<u64>) -> Answer<Transfer> {
    Ok(Json(site.app.cancel(*number)?))
}

async fn clear_transfers(site: Data<Site>) -> Answer<Value> {
    site.app.clear_transfers(None)?;
    Ok(done())
}

async fn clear_transfer(site: Data<Site>, number: Path<u64>) -> Answer<Value> {
    site.app.clear_transfers(Some(*number))?;
    Ok(done())
}

async fn search(site: Data<Site>, search: InTime<Search>) -> Answer<SearchRow> {
    Ok(Json(site.app.search(search.0).await?))
}

async fn searches(site: Data<Site>) -> Json<Vec<SearchRow>> {
    Json(site.app.searches())
}

async fn fetch(site: Data<Site>, fetch: InTime<Fetch>) -> Answer<Transfer> {
    Ok(Json(site.app.fetch(fetch.0).await?))
}

async fn join(site: Data<Site>, join: InTime<Join>) -> Answer<Joined> {
    Ok(Json(site.app.join(join.0.address.trim()).await?))
}

async fn rebuild(site: Data<Site>) -> Answer<Joined> {
    Ok(Json(site.app.rebuild().await?))
}

async fn refresh(site: Data<Site>) -> Answer<Value> {
    site.app.refresh().await?;
    Ok(done())
}

/// The answer of an upload.
pub(super) fn added(row: FileRow) -> HttpResponse {
    HttpResponse::Created().json(row)
}
