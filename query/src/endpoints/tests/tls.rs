//! TLS of an endpoint: whom it trusts, whom it is shown, and by which name it is called.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use sabre_proto::thanos::info::{
    InfoRequest,
    info_server::{Info, InfoServer},
};
use sabre_runtime::tls::ClientFiles;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::Connected},
};

use super::*;
use crate::endpoints::{dial::dial, info};

mod versions;

/// Long enough for any machine; nothing waits for its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection of a client that showed its certificate.
struct Encrypted(TlsStream<TcpStream>);

impl Connected for Encrypted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

struct Sidecar;

#[tonic::async_trait]
impl Info for Sidecar {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Ok(Response::new(InfoResponse {
            component_type: "sidecar".to_owned(),
            ..InfoResponse::default()
        }))
    }
}

fn file(name: &str) -> String {
    format!(
        "{}/src/endpoints/tests/certificates/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file(name)).unwrap();
    read.collect::<Result<_, _>>().unwrap()
}

/// A server `store.test` for clients of the authority only.
async fn server() -> (String, AbortHandle) {
    server_of(ALL_VERSIONS).await
}

/// One that speaks these versions only.
async fn server_of(versions: &[&'static SupportedProtocolVersion]) -> (String, AbortHandle) {
    let mut roots = RootCertStore::empty();
    roots.add(certificates("ca.pem").remove(0)).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap());
    let key = PrivateKeyDer::from_pem_file(file("server.key.pem")).unwrap();
    let mut config = config.with_single_cert(certificates("server.pem"), key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let incoming = futures::stream::unfold((listener, acceptor), |(listener, acceptor)| async {
        loop {
            let (stream, _) = listener.accept().await.ok()?;
            // Whoever does not show what is wanted goes away, and the next one comes.
            if let Ok(stream) = acceptor.accept(stream).await {
                return Some((Ok::<_, io::Error>(Encrypted(stream)), (listener, acceptor)));
            }
        }
    });
    let service = InfoServer::new(Sidecar);
    let serving = Server::builder()
        .add_service(service)
        .serve_with_incoming(incoming);
    (address, tokio::spawn(serving).abort_handle())
}

fn shown() -> ClientFiles {
    ClientFiles {
        ca_file: file("ca.pem"),
        cert_file: file("client.pem"),
        key_file: file("client.key.pem"),
        ..ClientFiles::default()
    }
}

async fn ask(address: &str, tls: Option<ClientFiles>, server_name: &str) -> Result<PeerInfo, String> {
    let client = ClientOptions {
        tls,
        server_name: server_name.to_owned(),
    };
    info::ask(dial(address, None, &client)?, PATIENCE).await
}

#[tokio::test]
async fn an_endpoint_is_asked_over_tls_with_its_own_files_and_name() {
    let (address, server) = server().await;
    let peer = ask(&address, Some(shown()), "store.test").await.unwrap();
    assert_eq!(peer.component, "sidecar");

    let error = ask(&address, Some(shown()), "other.test").await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
    let error = ask(&address, Some(shown()), "").await.unwrap_err();
    assert!(
        error.contains("not valid for name"),
        "called by its address: {error}"
    );

    let untrusted = ClientFiles {
        ca_file: file("client.pem"),
        ..shown()
    };
    let error = ask(&address, Some(untrusted), "store.test").await.unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let any = ClientFiles {
        ca_file: String::new(),
        insecure_skip_verify: true,
        ..shown()
    };
    assert!(
        ask(&address, Some(any), "other.test").await.is_ok(),
        "told not to look"
    );

    let nobody = ClientFiles {
        cert_file: String::new(),
        key_file: String::new(),
        ..shown()
    };
    assert!(
        ask(&address, Some(nobody), "store.test").await.is_err(),
        "it shows nothing"
    );
    assert!(ask(&address, None, "").await.is_err(), "it does not speak TLS");
    server.abort();
}

#[tokio::test]
async fn files_of_an_endpoint_are_read_again_for_each_connection() {
    let (address, server) = server().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let files = ClientFiles {
        ca_file: ca.display().to_string(),
        ..shown()
    };
    let client = ClientOptions {
        tls: Some(files),
        server_name: "store.test".to_owned(),
    };
    let channel = dial(&address, None, &client).unwrap();
    let error = info::ask(channel.clone(), PATIENCE).await.unwrap_err();
    assert!(error.contains("ca.pem"), "{error}");
    std::fs::copy(file("ca.pem"), &ca).unwrap();
    assert!(info::ask(channel, PATIENCE).await.is_ok(), "the same channel");
    server.abort();
}
