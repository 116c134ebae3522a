//! Certificates in requests: what is uploaded, which stored one is meant, and who uses it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clb_actions::params::{Element, Params};
use clb_actions::region::short_name;
use clb_actions::{ApiError, envelope};
use clb_cert::Refused;
use clb_model::{
    CertificateChoice, CertificateContent, CertificateId, CertificateKind, Command, LbId, Listener,
    NewTls, Protocol, SslMode, TlsPatch, UnixMillis, Upload,
};

use super::certificate_answers::{CertificateUser, CertificateUsers, UserListener};
use super::view::View;
use crate::certificates::content;

/// The uploads of a request, checked, by the parameter that each came in. What is wrong with one
/// that can only be judged beside the state is kept until then.
#[derive(Default)]
pub(super) struct Uploads(HashMap<String, Result<Arc<CertificateContent>, ApiError>>);

impl Uploads {
    fn get(&self, parameter: &str) -> Result<Arc<CertificateContent>, ApiError> {
        let found = self.0.get(parameter).cloned();
        found.unwrap_or_else(|| Err(ApiError::parameter(format!("{parameter}: was not read"))))
    }

    /// Logs what is taken but will not work: certificates out of their time (actions.md C.7).
    pub(super) fn warn(&self, now: UnixMillis) {
        for (parameter, content) in &self.0 {
            let Ok(content) = content else { continue };
            let seconds = now.0.div_euclid(1000);
            let subject = &content.subject;
            if content.not_after < seconds {
                tracing::warn!(%parameter, %subject, "an uploaded certificate has expired");
            } else if content.not_before > seconds {
                tracing::warn!(%parameter, %subject, "an uploaded certificate is not yet valid");
            }
        }
    }
}

/// Where the parameters of one listener stand.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    /// In the request itself.
    Request(&'a Params),
    /// In an element of `listeners`.
    Element(Element<'a>),
}

impl<'a> Source<'a> {
    fn text(&self, field: &str) -> Option<&'a str> {
        match self {
            Self::Request(params) => params.text(field),
            Self::Element(element) => element.text(field),
        }
    }

    fn name(&self, field: &str) -> String {
        match self {
            Self::Request(_) => field.to_owned(),
            Self::Element(element) => element.name(field),
        }
    }

    fn read(&self, uploads: &mut Uploads) -> Result<(), ApiError> {
        if let (Some(chain), Some(key)) = (self.text("certContent"), self.text("certKey")) {
            let checked = clb_cert::server(chain, key);
            let checked =
                checked.map_err(|refused| self.refused(&refused, "certContent", "certKey"))?;
            let name = self.name("certContent");
            uploads.0.insert(name, Ok(Arc::new(content(checked))));
        }
        if let Some(text) = self.text("certCaContent") {
            let checked = clb_cert::authority(text).map_err(Refused::Certificate);
            let checked = checked.map_err(|refused| self.refused(&refused, "certCaContent", ""))?;
            let name = self.name("certCaContent");
            uploads.0.insert(name, Ok(Arc::new(content(checked))));
        }
        Ok(())
    }

    /// 4000 (9003) with the parameter's name and what is wrong in it, never its text.
    fn refused(&self, refused: &Refused, certificate: &str, key: &str) -> ApiError {
        let (field, error) = match refused {
            Refused::Certificate(error) => (certificate, error.to_string()),
            Refused::Key(error) => (key, error.to_string()),
        };
        ApiError::parameter(format!("{}: {error}", self.name(field)))
    }

    /// The certificate that an id or an upload means; none when neither was given.
    fn choice(
        &self,
        view: &View<'_>,
        [id, content, name]: [&str; 3],
    ) -> Result<Option<CertificateChoice>, ApiError> {
        if self.text(content).is_some() {
            return Ok(Some(CertificateChoice::Upload(Upload {
                // The engine draws the id when it executes the command.
                id: CertificateId::from_number(0),
                name: self.text(name).unwrap_or_default().to_owned(),
                now: view.now,
                content: view.uploads.get(&self.name(content))?,
            })));
        }
        let stored = self.text(id).map(|text| {
            let id = parse(text)?;
            Ok(CertificateChoice::Stored(id))
        });
        stored.transpose()
    }

    fn server(&self, view: &View<'_>) -> Result<Option<CertificateChoice>, ApiError> {
        self.choice(view, ["certId", "certContent", "certName"])
    }

    fn authority(&self, view: &View<'_>) -> Result<Option<CertificateChoice>, ApiError> {
        self.choice(view, ["certCaId", "certCaContent", "certCaName"])
    }

    /// What a new HTTPS listener's handshakes are made with; none for a listener without.
    pub(super) fn new_tls(&self, view: &View<'_>) -> Result<Option<NewTls>, ApiError> {
        let mode = self.text("SSLMode").and_then(SslMode::from_name);
        match (mode, self.server(view)?) {
            (Some(mode), Some(certificate)) => Ok(Some(NewTls {
                mode,
                certificate,
                authority: self.authority(view)?,
            })),
            _ => Ok(None),
        }
    }

    /// What of it changes; nothing for another protocol, which is refused for having the parameters
    /// at all.
    pub(super) fn tls_patch(
        &self,
        view: &View<'_>,
        protocol: Protocol,
    ) -> Result<TlsPatch, ApiError> {
        if protocol != Protocol::Https {
            return Ok(TlsPatch::default());
        }
        Ok(TlsPatch {
            mode: self.text("SSLMode").and_then(SslMode::from_name),
            certificate: self.server(view)?,
            authority: self.authority(view)?,
        })
    }
}

fn parse(text: &str) -> Result<CertificateId, ApiError> {
    CertificateId::parse(text).map_err(|_| ApiError::certificate_not_found(text))
}

/// The uploads of new listeners.
pub(super) fn of_listeners(params: &Params) -> Result<Uploads, ApiError> {
    let mut uploads = Uploads::default();
    for element in params.elements("listeners") {
        Source::Element(element).read(&mut uploads)?;
    }
    Ok(uploads)
}

/// The uploads of a changed listener.
pub(super) fn of_listener(params: &Params) -> Result<Uploads, ApiError> {
    let mut uploads = Uploads::default();
    Source::Request(params).read(&mut uploads)?;
    Ok(uploads)
}

/// The upload of ReplaceCert. Without a key it is taken for a client CA; whether it should have one
/// depends on the certificate that it replaces.
pub(super) fn of_replacement(params: &Params) -> Result<Uploads, ApiError> {
    let mut uploads = Uploads::default();
    let Some(text) = params.text("newCertContent") else {
        return Ok(uploads);
    };
    let source = Source::Request(params);
    let refuse = |refused| source.refused(&refused, "newCertContent", "newCertKey");
    let checked = match params.text("newCertKey") {
        Some(key) => Ok(clb_cert::server(text, key).map_err(refuse)?),
        None => clb_cert::authority(text).map_err(|error| refuse(Refused::Certificate(error))),
    };
    let checked = checked.map(|checked| Arc::new(content(checked)));
    uploads.0.insert("newCertContent".to_owned(), checked);
    Ok(uploads)
}

/// ReplaceCert
pub(super) fn replace(view: &View<'_>, params: &Params) -> Result<Command, ApiError> {
    let old = parse(params.text("oldCertId").unwrap_or_default())?;
    let stored = view.state.certificate(old);
    let stored = stored.ok_or_else(|| ApiError::certificate_not_found(old))?;
    let is_upload = params.is_given("newCertContent");
    if is_upload
        && stored.content.kind() == CertificateKind::Server
        && !params.is_given("newCertKey")
    {
        let message = format!("newCertKey: required, since {old} is a server certificate");
        return Err(ApiError::parameter(message));
    }
    let names = ["newCertId", "newCertContent", "newCertName"];
    let new = Source::Request(params).choice(view, names)?;
    let new = new.ok_or_else(|| ApiError::parameter("newCertId: is required".to_owned()))?;
    Ok(Command::ReplaceCertificate { old, new })
}

/// GetCertListWithLoadBalancer
pub(super) fn users(view: &View<'_>, params: &Params) -> Result<String, ApiError> {
    let region = short_name(view.region);
    let of_one = |text: &str| {
        let id = CertificateId::parse(text).ok();
        let listeners = id.into_iter().flat_map(|id| view.state.users_of(id));
        let mut users: Vec<CertificateUser> = Vec::new();
        let mut last: Option<LbId> = None;
        for listener in listeners {
            if last != Some(listener.load_balancer) {
                last = Some(listener.load_balancer);
                users.extend(user(view, listener, region));
            }
            if let Some(user) = users.last_mut() {
                user.listener.extend(UserListener::new(listener));
            }
        }
        (text.to_owned(), users)
    };
    let cert_set: BTreeMap<String, Vec<CertificateUser>> =
        params.texts("certIds").into_iter().map(of_one).collect();
    Ok(envelope::success(&CertificateUsers { cert_set }))
}

fn user(view: &View<'_>, listener: &Listener, region: &str) -> Option<CertificateUser> {
    let lb = view.state.load_balancer(listener.load_balancer)?;
    Some(CertificateUser {
        lb_name: lb.name.clone(),
        load_balancer_id: lb.id.to_string(),
        region: region.to_owned(),
        listener: Vec::new(),
    })
}
