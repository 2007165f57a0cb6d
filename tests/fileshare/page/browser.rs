//! A headless Chromium, driven over WebDriver. Both processes end with the test.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, key::Key, wd};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::instance::LIMIT;

const CHROMIUM: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    // Use files for memory that is shared among the processes: a container may limit `/dev/shm`.
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
];

/// Calls back as soon as `CONDITION` holds in the page.
const SEE: &str = "
    const back = arguments[arguments.length - 1];
    const look = () => {
        let seen = null;
        try { seen = (() => { CONDITION })(); } catch { }
        if (seen) back(seen); else setTimeout(look, 10);
    };
    look();";

pub(super) struct Browser {
    driver: Child,
    /// URL of this session, for commands that the client does not offer.
    session: String,
    client: Client,
    _profile: TempDir,
}

/// The number of times that chromedriver is started until it listens.
const DRIVER_STARTS: usize = 5;

/// Starts chromedriver. `None` if it ends without a port.
fn start_driver() -> Option<(Child, String)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("chromedriver must be installed (Debian: chromium-driver)");
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = lines
        .filter_map(|line| Some(line.split_once("successfully on port ")?.1.to_owned()))
        .map(|port| port.trim_end_matches('.').to_owned())
        .next();
    if port.is_none() {
        driver.wait().unwrap();
    }
    port.map(|port| (driver, port))
}

impl Browser {
    pub(super) async fn start() -> Self {
        // It picks a port and binds it for IPv4 and IPv6 one after the other. If another process
        // takes the port in between, it ends without a word.
        let started = std::iter::repeat_with(start_driver).take(DRIVER_STARTS).flatten().next();
        let (driver, port) = started.expect("chromedriver prints its port");
        let address = format!("http://127.0.0.1:{port}");
        let profile = tempfile::tempdir().unwrap();
        let folder = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<&str> = CHROMIUM.into_iter().chain([folder.as_str()]).collect();
        let capabilities = json!({ "goog:chromeOptions": { "args": arguments } });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&address)
            .await
            .expect("chromium opens a session");
        let id = client.session_id().await.unwrap().expect("a session's id");
        let times = wd::TimeoutConfiguration::new(Some(LIMIT), Some(LIMIT), Some(Duration::ZERO));
        client.update_timeouts(times).await.unwrap();
        let session = format!("{address}/session/{id}");
        Self { driver, session, client, _profile: profile }
    }

    /// Opens the page of an instance and waits until its connection is live.
    pub(super) async fn open(&self, url: &str) {
        self.visit(url).await;
        self.see("return document.querySelector('#connection.live')").await;
    }

    /// Opens a page without waiting for its connection.
    pub(super) async fn visit(&self, url: &str) {
        while let Err(error) = self.client.goto(url).await {
            // Chromium aborts a load when a network interface of the machine appears or disappears.
            let changed = error.to_string().contains("ERR_NETWORK_CHANGED");
            assert!(changed, "cannot open {url}: {error}");
        }
    }

    /// Waits until the result of a script is true in the page, and returns it.
    pub(super) async fn see(&self, condition: &str) -> Value {
        let script = SEE.replace("CONDITION", condition);
        let seen = self.client.execute_async(&script, Vec::new()).await;
        match seen {
            Ok(value) => value,
            Err(error) => {
                let text = self.run("return document.body.innerText").await;
                panic!("not true in time: {condition}\n{error}\nthe page: {text}");
            }
        }
    }

    /// Waits until the text of the first element of this kind contains `text`.
    pub(super) async fn see_text(&self, selector: &str, text: &str) {
        let condition = format!(
            "return document.querySelector({}).innerText.includes({})",
            json!(selector),
            json!(text)
        );
        self.see(&condition).await;
    }

    pub(super) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub(super) async fn find(&self, selector: &str) -> Element {
        let shown = format!("return document.querySelector({})", json!(selector));
        self.see(&shown).await;
        let found = self.client.find(Locator::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector}: {error}"))
    }

    /// Clicks the current element. Retries if an update replaces the element meanwhile.
    pub(super) async fn click(&self, selector: &str) {
        while let Err(error) = self.find(selector).await.click().await {
            assert!(error.is_stale_element_reference(), "{selector}: {error}");
        }
    }

    pub(super) async fn write(&self, selector: &str, text: &str) {
        self.find(selector).await.send_keys(text).await.unwrap();
    }

    /// Presses a key at the focused element.
    pub(super) async fn press(&self, key: Key) {
        self.type_text(&char::from(key).to_string()).await;
    }

    pub(super) async fn type_text(&self, text: &str) {
        self.client.active_element().await.unwrap().send_keys(text).await.unwrap();
    }

    /// The accessible name of the focused element, as a screen reader announces it.
    pub(super) async fn focus(&self) -> String {
        let name = self
            .run(
                "const at = document.activeElement;
                 return at.ariaLabel ?? at.labels?.[0]?.innerText ?? at.innerText ?? at.tagName",
            )
            .await;
        name.as_str().unwrap_or_default().trim().to_owned()
    }

    /// Sends a command of Chromium's own protocol.
    pub(super) fn chromium(&self, command: &str, parameters: Value) {
        let body = json!({ "cmd": command, "params": parameters });
        ureq::post(format!("{}/goog/cdp/execute", self.session)).send_json(body).unwrap();
    }

    pub(super) fn size(&self, width: u32, height: u32, scale: f64, phone: bool) {
        let parameters = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone,
        });
        self.chromium("Emulation.setDeviceMetricsOverride", parameters);
    }

    pub(super) fn colours(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", features);
    }

    pub(super) async fn photograph(&self, to: &Path) {
        fs::write(to, self.client.screenshot().await.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session. Killing only the driver would leave Chromium running.
        ureq::delete(&self.session).call().ok();
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}
