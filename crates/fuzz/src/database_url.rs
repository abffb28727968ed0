//! Database URLs.

use postroad_store::connect;
use tokio::runtime::Builder;

const PASSWORD: &str = "hunter2";

/// A URL; then one whose password must not be told, with the input for the rest of it.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Files are named in it: nothing is to be made, and nothing without an end is to be read.
    if text.starts_with("sqlite:") || text.contains("/dev") || text.contains('%') {
        return;
    }
    try_to_connect(text);
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://user:{PASSWORD}@{text}");
        if let Some(error) = try_to_connect(&url)
            && !text.contains(PASSWORD)
        {
            assert!(!error.contains(PASSWORD), "{error}");
        }
    }
}

/// Nobody is asked yet; `Some` with what is wrong with the URL.
fn try_to_connect(url: &str) -> Option<String> {
    // One for each, since a pool leaves tasks behind.
    let runtime = Builder::new_current_thread().enable_all().build().expect("there is a runtime");
    runtime.block_on(async {
        match connect(url).await {
            Ok(database) => {
                database.close().await;
                None
            }
            Err(error) => Some(format!("{error} {error:?}")),
        }
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "postgres://postroad:secret@localhost:5432/bus?sslmode=disable",
        "postgresql://[::1]/bus?application_name=x&sslrootcert=ca.pem",
        "mysql://a:b@db.example:3306/bus?ssl-mode=VERIFY_IDENTITY&ssl-ca=/etc/ca.pem&allow_plaintext=true",
        "mariadb://localhost/bus?charset=utf8mb4",
        "localhost:5432/bus?allow_plaintext=false&ssl-cert=c&ssl-key=k",
        "db.example/bus?sslmode=verify-full&options=-c%20x",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
