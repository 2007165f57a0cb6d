//! The page, which is part of the program: no file is read from the disk or from other hosts.

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, ServiceConfig},
};

/// The path, media type and content of each file.
const ASSETS: [(&str, &str, &str); 11] = [
    ("/", "text/html; charset=utf-8", include_str!("../assets/index.html")),
    ("/app.css", "text/css; charset=utf-8", include_str!("../assets/app.css")),
    ("/app.js", JS, include_str!("../assets/app.js")),
    ("/dom.js", JS, include_str!("../assets/dom.js")),
    ("/files.js", JS, include_str!("../assets/files.js")),
    ("/layout.js", JS, include_str!("../assets/layout.js")),
    ("/names.js", JS, include_str!("../assets/names.js")),
    ("/network.js", JS, include_str!("../assets/network.js")),
    ("/search.js", JS, include_str!("../assets/search.js")),
    ("/transfers.js", JS, include_str!("../assets/transfers.js")),
    ("/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

const JS: &str = "text/javascript; charset=utf-8";

pub(super) fn routes(config: &mut ServiceConfig) {
    for (path, media_type, content) in ASSETS {
        let answer = move || {
            let response =
                HttpResponse::Ok().insert_header((header::CONTENT_TYPE, media_type)).body(content);
            std::future::ready(response)
        };
        config.route(path, web::get().to(answer));
    }
}
