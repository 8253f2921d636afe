//! Certificates for tests, in files and as clients use them.

use std::{fs, path::Path, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ClientFiles, client_auth::ClientAuth, client_config, names::Version, pem::Source, server::ServerTls,
};

/// The path of one of the files beside this one.
pub(crate) fn certificate(name: &str) -> String {
    format!(
        concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/certificates/{}"),
        name
    )
}

/// A server of `store.test` that asks its clients for nothing and speaks TLS 1.2 and 1.3.
pub(crate) fn server_tls(protocols: &'static [&'static str]) -> ServerTls {
    ServerTls {
        cert: Source::file("cert", certificate("server.pem")),
        key: Source::file("key", certificate("server.key.pem")),
        client_auth: ClientAuth::None,
        client_ca: None,
        client_names: Vec::new(),
        version_setting: "min",
        min_version: Version::Tls12,
        max_version: Version::Tls13,
        suites: None,
        curves: None,
        prefers_own_order: true,
        protocols,
    }
}

/// Puts a file in place as a Secret is replaced: whole, under another inode.
pub(crate) fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::rename(new, path).unwrap();
}

/// Puts one of the certificates in place.
pub(crate) fn put(path: &Path, name: &str) {
    replace(path, fs::read(certificate(name)).unwrap());
}

/// A client of the authority that shows nothing.
pub(crate) fn nobody() -> ClientFiles {
    ClientFiles {
        ca_file: certificate("ca.pem"),
        ..ClientFiles::default()
    }
}

/// A client of the authority that shows the certificate of this name.
pub(crate) fn somebody(name: &str) -> ClientFiles {
    ClientFiles {
        cert_file: certificate(&format!("{name}.pem")),
        key_file: certificate(&format!("{name}.key.pem")),
        ..nobody()
    }
}

/// Shakes hands as a client that calls the server `name`.
///
/// # Errors
/// What is wrong; a client of TLS 1.3 may learn that it is turned away from its first read only.
pub(crate) async fn connect(
    address: std::net::SocketAddr,
    name: &'static str,
    files: &ClientFiles,
    protocol: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = client_config(files).unwrap();
    config.alpn_protocols = protocol.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name.try_into().unwrap(), stream).await
}

/// Asks over HTTP/1.1 and returns all that comes back.
pub(crate) async fn ask(
    address: std::net::SocketAddr,
    name: &'static str,
    files: &ClientFiles,
    head: &str,
) -> std::io::Result<String> {
    let mut stream = connect(address, name, files, &["http/1.1"]).await?;
    let request = format!("{head}\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
