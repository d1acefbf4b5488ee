//! Whether a node may take part: what it says of itself has to agree with the server's list, the config and the other sites.

use effgan_fl::Refusal;
use effgan_nn::ArithmeticVersion;

use super::nodes::Unable;
use super::site_list::ListedSite;
use super::{NodeId, SiteConnections};
use crate::protocol::{Content, Introduction, RequestId};

impl SiteConnections<'_> {
    /// The site that the node `id` is, by its reply to the query `request`.
    ///
    /// # Errors
    /// Why it cannot take part.
    pub(super) fn admit(&self, id: NodeId, request: &RequestId, content: &Content) -> Result<Introduction, Unable> {
        request.check(&content.request_id()).map_err(Unable::Other)?;
        match content.refusal().map_err(Unable::Other)? {
            Some(Refusal::WaitingForApproval) => return Err(Unable::NotApproved),
            Some(refusal) => return Err(Unable::Other(refusal.to_string())),
            None => {}
        }
        let mut site = Introduction::of(content).map_err(Unable::Other)?;
        if self.list.is_some() {
            let Some(ListedSite { name, max_examples }) = self.listed(id) else {
                return Err(Unable::Other("it is no longer on the server's list of sites".into()));
            };
            if site.name != *name {
                let reason = format!("it says it is {}, but its key is that of {name}", site.name);
                return Err(Unable::Other(reason));
            }
            site.max_examples = *max_examples;
        }
        self.check_site(&site).map_err(Unable::Other)?;
        Ok(site)
    }

    pub(super) fn check_site(&self, site: &Introduction) -> Result<(), String> {
        let Introduction { name, version, arithmetic_version, .. } = site;
        if self.config.federation.sites.as_ref().is_some_and(|sites| !sites.contains(name)) {
            return Err(format!("{name} is not one of federation.sites"));
        }
        if self.node_of(name).is_some() {
            return Err(format!("another node is already {name}; give each site its own name"));
        }
        if version != env!("CARGO_PKG_VERSION") {
            return Err(format!("{name} has effgan {version}, the server has {}", env!("CARGO_PKG_VERSION")));
        }
        if *arithmetic_version != ArithmeticVersion::OURS {
            let ours = ArithmeticVersion::OURS;
            return Err(format!(
                "{name} computes with arithmetic version {arithmetic_version}, the server with {ours}; install the same effgan"
            ));
        }
        // First against the config: a site that contradicts it is the one to refuse, not an honest site that comes after it.
        self.check_against_config(site)?;
        self.check_against_sites(site)
    }

    /// Checks that the site's images are as the config makes all images.
    fn check_against_config(&self, site: &Introduction) -> Result<(), String> {
        let Introduction { name, image_shape: [c, h, w], num_classes, .. } = site;
        let (dataset, classes) = (&self.config.dataset, self.config.federation.classes.as_ref());
        let differs = |wanted: Option<usize>, got: usize| wanted.is_some_and(|wanted| wanted != got);
        if differs(dataset.channels, *c) || differs(dataset.size, *h) || differs(dataset.size, *w) {
            return Err(format!(
                "{name} says its images are {c} × {h} × {w}, which contradicts dataset.channels and dataset.size"
            ));
        }
        if differs(classes.map(Vec::len), *num_classes) {
            return Err(format!("{name} says it has {num_classes} classes, which contradicts federation.classes"));
        }
        if site.label_counts.is_some() && !self.config.federation.label_counts {
            return Err(format!("{name} sends label counts, and federation.label_counts = false"));
        }
        Ok(())
    }

    /// Checks that the site's images are like those of the connected sites. Classes matter only to a network that is given them.
    fn check_against_sites(&self, site: &Introduction) -> Result<(), String> {
        let Introduction { name, image_shape, num_classes, .. } = site;
        let classes_differ =
            |other: &Introduction| self.config.network.is_conditional() && other.num_classes != *num_classes;
        let differs = |other: &Introduction| other.image_shape != *image_shape || classes_differ(other);
        let Some(other) = self.connected_sites().into_iter().find(differs) else { return Ok(()) };
        let images =
            |shape: [usize; 3], classes| format!("{} × {} × {} in {classes} classes", shape[0], shape[1], shape[2]);
        Err(format!(
            "{name} has images of {}, and {} of {}; set dataset.size and dataset.channels",
            images(*image_shape, *num_classes),
            other.name,
            images(other.image_shape, other.num_classes)
        ))
    }
}
