// What `azd up` makes with no more than an instance.
using '../main.bicep'

param environmentName = 'refresher'
param location = 'westeurope'
param principalId = '00000000-0000-0000-0000-00000000000a'
param instanceUrl = 'https://contoso.service-now.com'
