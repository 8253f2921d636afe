//! The oldest version of TLS that is spoken to an endpoint.

use tokio_rustls::rustls::version::TLS12;

use super::*;

#[tokio::test]
async fn no_older_version_is_spoken_to_an_endpoint_than_the_flag_says() {
    let (address, server) = server_of(&[&TLS12]).await;
    for (min_version, is_spoken) in [("1.2", true), ("1.3", false)] {
        let files = ClientFiles {
            min_version: min_version.to_owned(),
            ..shown()
        };
        let answer = ask(&address, Some(files), "store.test").await;
        assert_eq!(answer.is_ok(), is_spoken, "{min_version}: {answer:?}");
    }
    server.abort();
}
