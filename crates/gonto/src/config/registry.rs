//! Registry values that a requirement writes on Windows.

use super::decode::Field;
use super::requirement::one_of;

/// A value of the Windows registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryValue {
    /// The key that everything begins at.
    pub root: RegistryRoot,
    /// The path of the key below the root; may be empty.
    pub path: String,
    /// The name of the value.
    pub name: String,
    /// The type of the value.
    pub kind: RegistryType,
    /// The value. `{{mount_point}}` in a string is replaced by the mount point.
    pub data: RegistryData,
}

/// What a registry value holds: a string for the string types, an integer for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryData {
    /// For `REG_SZ`, `REG_EXPAND_SZ` and `REG_MULTI_SZ`.
    String(String),
    /// For the other types; within the range of the type.
    Integer(u64),
}

/// Declares an enum whose variants are spelled like constants of the Windows registry.
macro_rules! spelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every one, in the order in which messages list them.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The spelling in configurations, which is that of the Windows headers.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }
    };
}

spelled! {
    /// The keys that the registry begins at.
    RegistryRoot {
        /// `HKEY_CLASSES_ROOT`.
        ClassesRoot = "HKEY_CLASSES_ROOT",
        /// `HKEY_CURRENT_CONFIG`.
        CurrentConfig = "HKEY_CURRENT_CONFIG",
        /// `HKEY_CURRENT_USER`.
        CurrentUser = "HKEY_CURRENT_USER",
        /// `HKEY_DYN_DATA`.
        DynData = "HKEY_DYN_DATA",
        /// `HKEY_LOCAL_MACHINE`.
        LocalMachine = "HKEY_LOCAL_MACHINE",
        /// `HKEY_PERFORMANCE_DATA`.
        PerformanceData = "HKEY_PERFORMANCE_DATA",
        /// `HKEY_USERS`.
        Users = "HKEY_USERS",
    }
}

spelled! {
    /// The types of registry values.
    RegistryType {
        /// A string: `REG_SZ`, the default.
        Sz = "REG_SZ",
        /// A string in which Windows expands `%VARIABLE%`: `REG_EXPAND_SZ`.
        ExpandSz = "REG_EXPAND_SZ",
        /// Several strings: `REG_MULTI_SZ`. Each line of the data is one of them, and none may be empty.
        MultiSz = "REG_MULTI_SZ",
        /// 32 bits: `REG_DWORD`.
        Dword = "REG_DWORD",
        /// Another name of `REG_DWORD`: `REG_DWORD_LITTLE_ENDIAN`.
        DwordLittleEndian = "REG_DWORD_LITTLE_ENDIAN",
        /// 32 bits, the highest byte first: `REG_DWORD_BIG_ENDIAN`.
        DwordBigEndian = "REG_DWORD_BIG_ENDIAN",
        /// 64 bits: `REG_QWORD`.
        Qword = "REG_QWORD",
        /// Another name of `REG_QWORD`: `REG_QWORD_LITTLE_ENDIAN`.
        QwordLittleEndian = "REG_QWORD_LITTLE_ENDIAN",
    }
}

impl RegistryType {
    /// The largest integer that the type holds; the smallest is 0. None for the string types.
    pub fn max_integer(self) -> Option<u64> {
        match self {
            RegistryType::Sz | RegistryType::ExpandSz | RegistryType::MultiSz => None,
            RegistryType::Dword | RegistryType::DwordLittleEndian | RegistryType::DwordBigEndian => {
                Some(u64::from(u32::MAX))
            }
            RegistryType::Qword | RegistryType::QwordLittleEndian => Some(u64::MAX),
        }
    }
}

/// Reads a list of registry values.
pub(super) fn registry_values(field: &Field<'_>) -> Option<Vec<RegistryValue>> {
    // Each is read, whether or not one before it is wrong.
    let values: Vec<_> = field.list()?.iter().map(registry_value).collect();
    values.into_iter().collect()
}

fn registry_value(field: &Field<'_>) -> Option<RegistryValue> {
    let fields = field.fields(&["root", "path", "name", "type", "data"])?;
    let root = fields.required("root", "root: HKEY_CURRENT_USER").and_then(|field| {
        let words: Vec<_> = RegistryRoot::ALL.iter().map(|it| (it.as_str(), *it)).collect();
        one_of(&field, "registry root", &words)
    });
    let path = fields.optional("path").map_or(Some(String::new()), |field| field.string().map(str::to_owned));
    let name = fields.required("name", "name: VALUE").and_then(|field| field.string().map(str::to_owned));
    let kind = fields.optional("type").map_or(Some(RegistryType::Sz), |field| {
        let words: Vec<_> = RegistryType::ALL.iter().map(|it| (it.as_str(), *it)).collect();
        one_of(&field, "registry type", &words)
    });
    // Without a type there is no telling what the data should be.
    let data = fields.required("data", "data: TEXT").zip(kind).and_then(|(field, kind)| data(&field, kind));
    Some(RegistryValue { root: root?, path: path?, name: name?, kind: kind?, data: data? })
}

fn data(field: &Field<'_>, kind: RegistryType) -> Option<RegistryData> {
    let Some(max) = kind.max_integer() else {
        return field.string().map(|text| RegistryData::String(text.to_owned()));
    };
    let value = field.integer()?.and_then(|value| u64::try_from(value).ok()).filter(|value| *value <= max);
    if value.is_none() {
        field.report(
            field
                .error(format!("`{}` does not fit into {}", field.path(), kind.as_str()), "out of range")
                .help(format!("write an integer from 0 to {max}")),
        );
    }
    value.map(RegistryData::Integer)
}
