// Roles on the whole vault, for more connections than a subscription has role assignments.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
param roleScope = 'vault'
