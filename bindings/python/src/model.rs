//! `effgan.Model`: the generators of a model folder.

use std::path::PathBuf;

use effgan_fl::Ensemble;
use effgan_fl::ensemble::Member;
use effgan_nn::params;
use effgan_run::api;
use numpy::{PyArray1, PyArray4, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};

use crate::{arguments, errors, work};

/// The generators of a model folder. Each is read when it is needed, so that at most one is in memory at a time.
#[pyclass(frozen, module = "effgan")]
pub struct Model {
    pub(crate) ensemble: Ensemble,
    path: PathBuf,
    /// The same path, which means the same to a process with another working folder.
    absolute: PathBuf,
}

#[pymethods]
impl Model {
    /// Opens a model folder, or the one inside a run folder.
    #[classmethod]
    fn load(_class: &Bound<'_, PyType>, path: PathBuf) -> PyResult<Self> {
        let ensemble = Ensemble::open(&path).map_err(|error| errors::exception(&error.into()))?;
        let absolute = std::path::absolute(&path)?;
        Ok(Self { ensemble, path, absolute })
    }

    /// Generates images `0..n` of `seed`, u8 `[n, c, h, w]`: from the ensemble, from one or several members, or from `"global"`, the averaged
    /// generator. The images of a conditional model take `classes` in turn: names or numbers, or `"all"`; random ones by default.
    #[expect(clippy::too_many_arguments, reason = "the signature is Python's")]
    #[pyo3(signature = (n, seed=1, *, member=None, classes=None, jobs=None, device=None))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: i64,
        seed: i64,
        member: Option<Names>,
        classes: Option<Classes>,
        jobs: Option<i64>,
        device: Option<&str>,
    ) -> PyResult<Bound<'py, PyArray4<u8>>> {
        let members = member.map_or_else(Vec::new, Names::into_vec);
        let classes = classes.map_or_else(Vec::new, Classes::into_names);
        let (n, seed) = (arguments::count(n, "n")?, arguments::count(seed, "seed")?);
        let on = arguments::hardware(device, jobs)?;
        let draw = |stop: &_| api::sample(&self.ensemble, &members, &classes, seed, n, on, stop);
        let [c, h, w] = self.ensemble.image_shape();
        PyArray1::from_vec(py, work::quietly(py, draw)?).reshape([n as usize, c, h, w])
    }

    /// Names of the members, sorted; empty for an algorithm without an ensemble.
    #[getter]
    fn members(&self) -> Vec<&str> {
        self.ensemble.manifest().members.iter().map(|member| member.name.as_str()).collect()
    }

    /// Each member's share of the samples, by name; they sum to 1.
    #[getter]
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let members = &self.ensemble.manifest().members;
        let total: f64 = members.iter().map(|member| member.weight).sum();
        let weights = PyDict::new(py);
        let set = |member: &Member| weights.set_item(member.name.as_str(), member.weight / total);
        members.iter().try_for_each(set)?;
        Ok(weights)
    }

    /// Names of the classes of a conditional model, in the order of their labels; empty where they are not known.
    #[getter]
    fn classes(&self) -> Vec<&str> {
        self.ensemble.manifest().classes.iter().map(String::as_str).collect()
    }

    /// Shape `(c, h, w)` of the images.
    #[getter]
    fn image_shape(&self) -> (usize, usize, usize) {
        self.ensemble.image_shape().into()
    }

    /// How `pickle` and `copy` make another one: from the same folder, with all checks of `load`, if its manifest is still the same.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (PathBuf, String))> {
        let at = py.get_type::<Self>().getattr("_at")?;
        Ok((at, (self.absolute.clone(), hash(&self.ensemble))))
    }

    /// Opens the model folder that a pickled model was of.
    #[classmethod]
    fn _at(class: &Bound<'_, PyType>, path: PathBuf, manifest: &str) -> PyResult<Self> {
        let model = Self::load(class, path)?;
        if hash(&model.ensemble) != manifest {
            let line = format!("{} has changed since the model was pickled; load it again", model.path.display());
            return Err(errors::DataError::new_err(line));
        }
        Ok(model)
    }

    fn __repr__(&self) -> String {
        format!("<effgan.Model {} with {} members>", self.path.display(), self.members().len())
    }
}

/// SHA-256 of the manifest, which has those of all generators.
fn hash(ensemble: &Ensemble) -> String {
    let manifest = serde_json::to_vec(ensemble.manifest()).expect("a manifest is plain data");
    params::sha256(&manifest)
}

/// One class or several.
#[derive(FromPyObject)]
enum Classes {
    One(Class),
    Several(Vec<Class>),
}

/// A class by its name or its number.
#[derive(FromPyObject)]
enum Class {
    Name(String),
    Number(i64),
}

impl Classes {
    fn into_names(self) -> Vec<String> {
        let classes = match self {
            Self::One(class) => vec![class],
            Self::Several(classes) => classes,
        };
        let name = |class| match class {
            Class::Name(name) => name,
            Class::Number(number) => number.to_string(),
        };
        classes.into_iter().map(name).collect()
    }
}

/// One name or several.
#[derive(FromPyObject)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names,
        }
    }
}
